"""All that is remembered beside the snapshots: runs, rejections, removals."""
