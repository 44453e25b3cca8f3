"""Many engines of one model behind the `Engine` seam: replicas, and pools for the two halves of a request.

Owns: which member serves a request, and where it goes when that one fails.
May not touch: how a member makes tokens; configuration; any model library.
To add a way of choosing: a class that follows `routing.Router`, handed to `ReplicaSet`.
"""
