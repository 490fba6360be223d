// Package group is the membership of an encrypted room, seen from one client:
// who is in the room's MLS group, who may enter, which keys are in use.
package group
