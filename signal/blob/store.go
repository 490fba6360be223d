package blob

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"sotto/signal/protocol"
)

// Caps that nobody configures.
const (
	// roomBytes and roomFiles are those of one room.
	roomBytes = 256 << 20
	roomFiles = 256
	// maxFiles bounds the table, and what a sweep looks through.
	maxFiles = 1 << 14
	// maxRequests is how many uploads and downloads run at a time, and
	// clientRequests how many of them of one client.
	maxRequests    = 512
	clientRequests = 32
	// clientShare is which part of the store's bytes and places one client may
	// have, but as many bytes as one room.
	clientShare = 4

	// uploadWait is how long a place waits for its file.
	uploadWait = 2 * time.Minute
	// An upload or a download may stand still for idleTime, and takes idleTime
	// at most beside the time that minRate, bytes per second, needs: 64 MiB in 15
	// minutes.
	idleTime = 30 * time.Second
	minRate  = 75_000
	// emptyTime is how long the files of a room outlive its last participant:
	// all of them may be reconnecting.
	emptyTime = 10 * time.Minute
	// sweepInterval is how often what is over is removed from the disk.
	sweepInterval = 30 * time.Second
)

// Defaults of [Config].
const (
	DefaultTTL   = time.Hour
	DefaultBytes = 4 << 30
)

// Config says where a Store keeps its files and how much of them. Zero fields
// take their defaults.
type Config struct {
	Dir   string        // where it makes its own directory; empty: the system's for temporary files
	TTL   time.Duration // of a file
	Bytes int64         // of all files
}

// Errors of Reserve.
var (
	ErrSize = errors.New("blob: no such size")
	ErrFull = errors.New("blob: no space")
)

// Store keeps files. It is safe for concurrent use.
type Store struct {
	ttl  time.Duration
	max  int64
	dir  string
	root *os.Root

	client  func(*http.Request) netip.Addr
	stop    chan struct{}
	stopped chan struct{}

	mu       sync.Mutex
	files    map[string]*file // by name
	rooms    map[protocol.RoomID]*usage
	clients  map[netip.Addr]*usage
	bytes    int64 // of all places
	requests int   // that run
	running  map[netip.Addr]int
	counts   counts
}

// file is a place and what became of it. Guarded by Store.mu.
type file struct {
	name   string
	room   protocol.RoomID
	client netip.Addr
	size   int64
	token  string
	state  state
	until  time.Time // then it is over, whatever its state
}

type state uint8

const (
	waiting state = iota // for its upload
	writing              // the upload is under way
	stored
)

// usage is what a room or a client has. It exists while there is something.
type usage struct {
	bytes int64
	files int
	until time.Time // of a room; zero: somebody is in it
}

func (u *usage) add(bytes int64, files int) (empty bool) {
	u.bytes += bytes
	u.files += files
	return u.files == 0
}

// New makes a store with a directory of its own.
func New(c Config) (*Store, error) {
	if c.TTL <= 0 {
		c.TTL = DefaultTTL
	}
	if c.Bytes <= 0 {
		c.Bytes = DefaultBytes
	}
	dir, err := os.MkdirTemp(c.Dir, "sotto-files-") // mode 0700
	if err != nil {
		return nil, fmt.Errorf("blob: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("blob: %w", err), os.Remove(dir))
	}
	s := &Store{
		ttl: c.TTL, max: c.Bytes, dir: dir, root: root,
		client: func(*http.Request) netip.Addr { return netip.Addr{} },
		stop:   make(chan struct{}), stopped: make(chan struct{}),
		files: make(map[string]*file), rooms: make(map[protocol.RoomID]*usage),
		clients: make(map[netip.Addr]*usage), running: make(map[netip.Addr]int),
		counts: newCounts(),
	}
	go s.sweepUntilClosed()
	return s, nil
}

// Close removes all files. The handler is not called any more.
func (s *Store) Close() error {
	close(s.stop)
	<-s.stopped
	return errors.Join(s.root.Close(), os.RemoveAll(s.dir))
}

// CountClients bounds what each client does at a time; client tells whose a
// request is, the zero address nobody's. It is called before the first request.
func (s *Store) CountClients(client func(*http.Request) netip.Addr) { s.client = client }

// Reserve makes a place for a file of a room: path is where it goes, token lets
// its holder put it there. It counts for the client, unless that is the zero
// address. Errors are ErrSize and ErrFull.
func (s *Store) Reserve(room protocol.RoomID, client netip.Addr, size int64) (path, token string, _ error) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if size < 1 || size > protocol.MaxFile {
		s.counts.reserved[refusedSize]++
		return "", "", ErrSize
	}
	u, c := s.rooms[room], s.clients[client]
	if u == nil {
		u = &usage{}
	}
	if c == nil || !client.IsValid() {
		c = &usage{}
	}
	switch {
	case s.bytes+size > s.max, len(s.files) >= maxFiles, u.bytes+size > roomBytes, u.files >= roomFiles:
		s.counts.reserved[refusedFull]++
		return "", "", ErrFull
	case c.bytes+size > max(s.max/clientShare, roomBytes), c.files >= maxFiles/clientShare:
		s.counts.reserved[refusedClient]++
		return "", "", ErrFull
	}
	f := &file{name: randomName(), room: room, client: client, size: size, token: randomToken(), until: now.Add(uploadWait)}
	s.files[f.name], s.rooms[room] = f, u
	s.bytes += size
	u.add(size, 1)
	if client.IsValid() {
		s.clients[client] = c
		c.add(size, 1)
	}
	s.counts.reserved[resultOK]++
	return protocol.FilePrefix + f.name, f.token, nil
}

// Occupied notes that somebody is in a room.
func (s *Store) Occupied(room protocol.RoomID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.rooms[room]; u != nil {
		u.until = time.Time{}
	}
}

// Emptied notes that nobody is in a room any more.
func (s *Store) Emptied(room protocol.RoomID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.rooms[room]; u != nil {
		u.until = time.Now().Add(emptyTime)
	}
}

// over reports whether a file's time has come. s.mu is held.
func (s *Store) over(f *file, now time.Time) bool {
	empty := s.rooms[f.room].until
	return !now.Before(f.until) || !empty.IsZero() && !now.Before(empty)
}

// find returns a file that is there. s.mu is held.
func (s *Store) find(name string, now time.Time) *file {
	f := s.files[name]
	if f == nil || s.over(f, now) {
		return nil
	}
	return f
}

// remove frees a file's place. s.mu is held.
func (s *Store) remove(f *file) {
	delete(s.files, f.name)
	s.bytes -= f.size
	if s.rooms[f.room].add(-f.size, -1) {
		delete(s.rooms, f.room)
	}
	if c := s.clients[f.client]; c != nil && c.add(-f.size, -1) {
		delete(s.clients, f.client)
	}
}

func (s *Store) sweepUntilClosed() {
	defer close(s.stopped)
	t := time.NewTicker(sweepInterval)
	defer t.Stop()
	for {
		select {
		case <-s.stop:
			return
		case now := <-t.C:
			s.sweep(now)
		}
	}
}

// sweep removes what is over. A download that runs goes on.
func (s *Store) sweep(now time.Time) {
	var names []string
	s.mu.Lock()
	for _, f := range s.files {
		if s.over(f, now) {
			s.remove(f)
			names = append(names, f.name)
		}
	}
	s.mu.Unlock()
	for _, name := range names {
		s.unlink(name)
	}
}

// unlink removes a file from the disk, if it is there.
func (s *Store) unlink(name string) {
	if err := s.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.counts.diskErrors++
	}
}

// randomName is written as a room id is: 26 characters.
func randomName() string {
	var id protocol.RoomID
	_, _ = rand.Read(id[:]) // never fails (crypto/rand)
	return id.String()
}

func randomToken() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// nameOf takes the path of a file, and nothing that only resembles one.
func nameOf(path string) (string, bool) {
	name, ok := strings.CutPrefix(path, protocol.FilePrefix)
	if !ok {
		return "", false
	}
	_, err := protocol.ParseRoomID(name)
	return name, err == nil
}
