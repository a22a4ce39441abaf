// Package gossip is a membership engine for l2vip.
package gossip
