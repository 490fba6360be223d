package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"runtime"
	"time"
)

// watchEvery is how often the watch wants to go on: it costs the core less than 1 %, and 4 s are 4,000 samples.
const watchEvery = time.Millisecond

// serveWatch is the process of the watch: a thread on the server's core that goes before the server, sleeps, and counts how late
// it goes on. So long the core was not there for anybody: that of a virtual machine was not running, or the kernel did something
// that nobody interrupts, the server's own system calls among it. It is the floor of the server's latency in the same run. Each
// line of input is answered with a usage that holds what was counted since the one before.
func serveWatch(ctx context.Context, setup setup, in io.Reader, out io.Writer) error {
	if err := pin(setup.cpu, watchPriority); err != nil {
		return err
	}
	runtime.GOMAXPROCS(2) // the sleeping thread and who answers
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	late := new(latency)
	late.on.Store(true)
	go late.keepTime(ctx) // ends within a beat
	encoder := json.NewEncoder(out)
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		p := late.percentiles()
		late.reset()
		if err := encoder.Encode(usage{Late: &p}); err != nil {
			return err
		}
	}
	return lines.Err()
}

// keepTime counts how late each beat comes.
func (l *latency) keepTime(ctx context.Context) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for beat := time.Now(); ctx.Err() == nil; {
		sleep(time.Until(beat))
		beat = l.catchUp(beat, time.Now())
	}
}

// catchUp counts all beats that are due, as packets that arrived meanwhile would wait too, and returns the next.
func (l *latency) catchUp(beat, now time.Time) time.Time {
	for ; !beat.After(now); beat = beat.Add(watchEvery) {
		l.add(now.Sub(beat))
	}
	return beat
}

// startWatch starts one beside the server of a core, nil without such a core.
func startWatch(cpu int) (*process, error) {
	if cpu < 0 {
		return nil, nil
	}
	p, err := startProcess(setup{shards: 1, offload: "auto", cpu: cpu, watch: true})
	if err != nil {
		return nil, err
	}
	if _, err := p.usage(); err != nil { // it has begun
		p.close()
		return nil, err
	}
	return p, nil
}
