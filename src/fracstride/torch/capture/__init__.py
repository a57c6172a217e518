"""A graph from a torch module: its operator calls, recorded at several lengths and batch sizes.

The module runs eagerly, as it is. What descends from the inputs is recorded operator by operator
(:mod:`recorder`), in functional form (:mod:`memory`); all else is a constant. The runs are then
laid side by side (:mod:`align`): what cannot be told apart from a constant, or differs in more than
sizes, is refused by name.
"""
