"""What commands tell: facts gathered into JSON values and lines."""
