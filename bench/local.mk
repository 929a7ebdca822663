# bench/ - speed and memory.
