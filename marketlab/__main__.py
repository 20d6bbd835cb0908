"""`python -m marketlab` is `marketlab`."""

from marketlab.cli import main

if __name__ == "__main__":
    main()
