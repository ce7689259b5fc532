"""What servers, clients, simulations and audits share; imports none of them."""
