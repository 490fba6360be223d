// Package shard runs rooms: one goroutine with one media socket that owns the transport's endpoint, its rooms and all their
// state.
//
//	endpoint.Read ─► Receive ─► packet.Parse ─► room.HandleRTP ┐
//	inbox ─► commands ─► room.Apply                            ├─► Batch ─► peer by peer: marshal, seal, Send ─► Flush
//	deadlines ─► endpoint.Poll, room.Tick                      ┘
//
// The goroutine never blocks but in Read: commands come through a bounded inbox and are answered on their own channel, what
// the node has to hear goes into a queue that keeps the latest state only. Locks: the inbox and that queue, both held for an
// append and never while a packet is handled.
//
// What is for the subscribers of a large room is sealed and written together with Senders, goroutines on cores that no shard
// has: the fan-out is cut into pieces, and shard and senders take one after the other. Each has its own outgoing memory and
// writer (lane); a peer is one goroutine's at a time, so that its packets keep their order and each number is sealed once.
// Nothing else happens meanwhile, and the shard waits for those that have begun a piece, so that nothing is copied or locked.
//
// While the socket does not take everything, the frames of the highest temporal layers are left out in all rooms of the shard,
// before a number is spent on them, and sound is written before video (pressure).
//
// A panic in the handling of a peer's packet removes that peer, one in a room's timer that room; the process lives and the
// fault is counted.
//
// # How a frame becomes one message
//
// A publisher's packets of a frame come 20 to 40 µs apart, and the first of them wakes the goroutine. What it causes is only
// put into the batch; before the expensive part, sealing and writing, the shard looks at the socket again, without waiting,
// until nothing has come (take). Then the batch goes out peer by peer, so that all packets of a frame for one peer stand
// behind each other in the outgoing memory, are padded to one length and become one message to the kernel. Audio rides behind
// a run of video, whose last packet may be shorter. As soon as a system call is full it is made: the first of a hundred
// subscribers do not wait until everything is sealed for the last, and another one is the first each time.
//
// # Where the CPU time goes
//
// The process of a media node on one core: one publisher of 1.5 Mbit/s, 100 subscribers in real time (shares of 2,000 samples of
// 5 s, 5 to 6 µs for each forwarded packet on that day; a sample counts for the first of these lines that its stack names):
//
//	write: system call, segmentation, delivery over loopback  34 %
//	poller: waiting, waking up                                16 %, half of it the virtual core coming back from its halt
//	incoming RTCP: decrypt 4 %, decode and estimate 7 %       11 %
//	seal                                                      10 %
//	incoming RTP: decrypt, parse, room, pacer                  8 %
//	read, its deadline                                         7 %
//	marshal, lists, padding, outgoing memory                   4 %
//	room timers, connectivity checks                           4 %
//	session lookup                                             1 %
//	garbage collection                                         1 %
//	commands, the node's connection to signaling, the rest     4 %
//
//	sotto bench -subscribers 100 -duration 10s -joins 8 -cpu 0 &
//	perf record -e cpu-clock -F 4000 -g --call-graph fp -p PID -- sleep 5    # its child with -watch=false
//	perf script -F comm,tid,time,ip,sym
//
// # Where the latency comes from
//
// Of six meetings of 10 with sound on one core (43,000 packets/s out, a third of the core at work): the goroutine runs again
// 0.03 ms after a packet came, in 99 of 100 cases within 0.1; 14 µs take the packet in and 5 µs go to each of 9 subscribers.
// Longer waits are a queue of packets that came together. Played back with the same arrivals, batches and their order matter
// little: writing after each packet would take 9 to 15 % off p99, taking in no more than what makes 96 packets 2 to 10 %.
// Waits of milliseconds were none of that: others had the core, or the only processor of the process was with a thread that
// waited in the kernel, for up to 20 ms (deploy/bench). So where a process has one processor, no goroutine of it must block in
// a system call.
//
// # What helped, and what did not
//
//	look at the socket again before sending        packets of a frame in a message 3.6 -> 6, CPU time -10 %
//	read by a raw system call                      any other wakes the runtime's monitor with each burst: 11 % of the CPU time
//	peer by peer instead of packet by packet       within the noise; the first subscribers no longer wait for the last
//	one outgoing memory instead of one a session   within the noise; 8 to 64 KiB less for each subscriber
//	padding to equal lengths                       packets in a message 1.5 -> 3.9
//	senders, two cores, 100 and 250 subscribers    packets per second by 1.35 and 1.65, for 8 to 25 and 0 to 7 % more CPU time
//	senders that spin for 30 µs before they wait   within the noise: a frame of a room is 33 ms after the last
//	a shard that spins before it waits for them    within the noise
//	pieces of 48, 96, 192 packets instead of 24    within the noise, and 192 too coarse with 50 subscribers (1.13, not 1.3)
//	a writer of each goroutine instead of a lock   within the noise; senders could not write at once without it
//	a sealer of our own instead of pion/srtp's     1 to 3 %; it stays since it refuses to use a nonce twice
//	io_uring instead of sendmmsg                   nothing
//	collecting at a quarter of growth, not half    3 % less memory, not worth the collections
package shard
