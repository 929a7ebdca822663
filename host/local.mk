# host/ - the program: main.c and one file per command.
