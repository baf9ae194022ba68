"""What a dishonest site may do to a federation, simulated: poisoned updates, poisoned rows, lying sketches.

Every attack is a pure function; chance comes as an argument. Nothing here runs outside a simulation.
"""
