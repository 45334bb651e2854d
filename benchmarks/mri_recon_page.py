def write_page(*a, **k): pass
