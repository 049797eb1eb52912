"""``python -m appliance.cli``: the same as the command ``basalt``."""

from appliance.cli import main

if __name__ == "__main__":
    main.main()
