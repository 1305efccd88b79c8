"""Four hospitals train one model on Flower; nobody sees another's update."""
