"""How sites come and go: what a request must prove, who must agree, and what each site is told."""
