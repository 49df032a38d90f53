"""How often does it wake wrongly, and how often not at all?"""
