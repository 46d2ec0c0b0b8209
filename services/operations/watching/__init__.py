"""What the platform does right now, at a glance: begin reading at ``overview``."""
