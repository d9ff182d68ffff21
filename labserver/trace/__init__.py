"""What happened on the wire, as values and pictures. Imports no Django, Twisted, Jupyter or network."""
