"""Who or what is measured: voxel maps and tissue tables, each number with its source."""
