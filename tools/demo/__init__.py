"""`make demo`: the relay under gunicorn between a simulated network and a real consumer, all on this machine, with a
view of it in the terminal and a verdict at the end.

Owns: the processes, what is sampled, the screen, the ending. Refuses to own: the simulated network and what must come
out of the relay (`tools/simulator`). No number on the screen is made here: each is read from the relay's metrics and
its `listHosts`, from the events that the consumer got, or from the simulator's account of what it sent.
"""
