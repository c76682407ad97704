"""How two models differ for somebody's own texts, before one takes the other's place."""
