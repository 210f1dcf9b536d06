package account

// recent keeps what was put into it last, at most twice size entries: when the younger half is
// full, the older one is dropped whole. So nobody who brings many new keys can fill it, and none of
// its steps takes longer than another.
type recent[K comparable, V any] struct {
	size         int
	young, older map[K]V
}

func newRecent[K comparable, V any](size int) recent[K, V] {
	return recent[K, V]{size: size, young: map[K]V{}}
}

func (r *recent[K, V]) get(k K) (v V, ok bool) {
	if v, ok = r.young[k]; ok {
		return v, true
	}
	v, ok = r.older[k]
	return v, ok
}

func (r *recent[K, V]) put(k K, v V) {
	if _, there := r.young[k]; !there && len(r.young) >= r.size {
		r.young, r.older = map[K]V{}, r.young
	}
	r.young[k] = v
}

// drop forgets a key.
func (r *recent[K, V]) drop(k K) {
	delete(r.young, k)
	delete(r.older, k)
}
