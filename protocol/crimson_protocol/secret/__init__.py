"""Code that touches secrets: private keys, masks, shares, boxes. The gateway never imports this package."""
