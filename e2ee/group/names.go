package group

// String is the name that clients give the state.
func (s State) String() string {
	names := [...]string{"connecting", "waiting", "member", "removed", "out_of_sync"}
	if int(s) < len(names) {
		return names[s]
	}
	return "unknown"
}

// String is the name that clients give the notice.
func (c NoticeCode) String() string {
	names := [...]string{
		NoticeInvalidCommit: "invalid_commit", NoticeJoined: "joined", NoticeLeft: "left", NoticeReplaced: "replaced",
		NoticeRemoved: "removed", NoticeDuplicateIdentity: "duplicate_identity", NoticeOutOfSync: "out_of_sync",
		NoticeRejoined: "rejoined", NoticeLinkRotated: "link_rotated", NoticePolicyChanged: "policy_changed",
		NoticeCreated: "created", NoticeStuck: "stuck",
	}
	if int(c) < len(names) && names[c] != "" {
		return names[c]
	}
	return "unknown"
}
