"""Thin adapters: LangChain, LlamaIndex, and a server of the Model Context Protocol.

Nothing imports this package but the command line: each adapter needs an extra of the same name.
"""
