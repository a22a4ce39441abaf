//go:build !linux

package main

// first does nothing: there is no lab to be a client in.
func first() {}
