// Package manifest reads pools and advertisements from the manifests that
// MetalLB takes: YAML documents of kind IPAddressPool and L2Advertisement,
// apiVersion metallb.io/v1beta1, as of MetalLB 0.16.
//
//	file, err := os.Open("pools.yaml")
//	...
//	m, err := manifest.Parse(file)
//
// Nothing is dropped silently. What MetalLB does not know is an error. What
// MetalLB knows and l2vip has no use for, such as a BGPPeer or the
// serviceAllocation of a pool, is listed in [Manifest.Ignored]. Errors and
// ignored parts carry the number of the document and the line.
//
// Parse looks at each document alone, so that pools and advertisements can be in
// different files. Whether pools overlap, and whether the pools of an
// advertisement exist, is found out by [pool.ValidatePools] and
// [pool.ValidateAdvertisements].
//
// # YAML
//
// Scalars are read as Kubernetes reads them: a plain yes, no, on or off is a
// boolean, and where text is wanted, booleans and numbers must be quoted. Aliases
// of anchors are followed; merge keys (<<) are an error, and so is a key that is
// given twice. A field without value (null) counts as absent.
package manifest
