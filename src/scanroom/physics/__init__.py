"""Laws of nature as pure functions and compiled kernels."""
