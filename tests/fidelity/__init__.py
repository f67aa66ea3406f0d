"""The sandbox and the client against the contract, from outside both."""
