"""The one way to pictures on the web: a guarded client that goes to public addresses only.

Off unless `FetchSettings.enabled`. Every name is resolved once, all its addresses are judged
(`sightline.fetching.addresses`), and the connection goes to the address that was judged. Size, time, type,
redirects and connections at once are bounded.
"""
