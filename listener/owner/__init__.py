"""Whose clip is it?"""
