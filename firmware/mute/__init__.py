"""The switch that cuts the microphone: its drawing, its overlays."""
