"""``python -m services.simulator``."""

from services.simulator.main import main

raise SystemExit(main())
