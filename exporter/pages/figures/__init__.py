"""Drawings as inline SVG, laid out by hand.

Positions across are percentages, so that a drawing fills a phone and a desktop alike while its text keeps its size;
colours are CSS variables of `page.css`, so that it follows light, dark and print. Each returns markup, escaped.
"""
