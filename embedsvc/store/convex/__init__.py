"""The store that many replicas share: a Convex deployment with the functions of convex/."""
