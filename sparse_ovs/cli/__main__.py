"""`python -m sparse_ovs.cli`: the command for launchers of several processes."""

from sparse_ovs.cli.app import main

if __name__ == "__main__":
    main()
