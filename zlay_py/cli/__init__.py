"""The `zlay` command. Owns: arguments, exit statuses, what is printed. Refuses to own: any behaviour of the relay.

Exit statuses: 0 all is well; 2 a setting or an argument is wrong; 3 the relay could not start; 70 it could not go on.
"""
