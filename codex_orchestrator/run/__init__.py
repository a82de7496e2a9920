"""What a run is: paths, shapes, events and the pure decisions about them."""
