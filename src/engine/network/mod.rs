//! Networks: drivers, IPAM, links, nftables batches, published ports, DNS.
