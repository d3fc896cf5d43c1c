"""What is measured beside one another by `engine`: each contender is a process with a database of its own."""
