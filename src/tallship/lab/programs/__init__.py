"""Stand-ins for kind, clusterctl and helm: tiny programs on PATH, and what they do to the lab.

The program sends its command line and the files it names to the lab, and prints what comes back; the work is done in
the lab's process, by an ordinary client of the lab's APIs.
"""
