// Package blob stores the files that participants send each other, for a while.
// What it stores is ciphertext, whose key and name it never sees.
//
// [Store.Reserve] makes a place for a file of a known length and returns its
// path and a token. Over HTTP ([Store.ServeHTTP]) who has the token PUTs the
// file there, once; who knows the path, 128 random bits, GETs it.
//
// Everything is bounded: the length of a file, the bytes and files of a room and
// of the store, places waiting for their file included; the time that a place
// waits, that an upload takes, that a file lives; the requests served at a time.
// The files of a room that is empty live ten minutes more at most.
//
// They are in a directory of the store's own, which is removed with it: nothing
// outlives the service.
package blob
