"""What commands print: facts of runs, gathered into JSON values and lines."""
