//! What the allocator does with memory that was freed.

/// Has glibc's allocator keep what is freed at the end of a heap, up to 64 MiB, for the requests to
/// come.
///
/// By default it gives back what is freed there as soon as that is twice the largest piece: with
/// tensors of half a megabyte nearly every request gives its buffers back and has the system clear
/// new ones, which takes a third of its time. Pieces of 4 MiB and more are given back at once, as
/// before. Other C libraries have no such numbers.
pub(crate) fn keep_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const TRIM: libc::c_int = 64 << 20;
        const MAP: libc::c_int = 4 << 20;
        #[expect(unsafe_code, reason = "the standard library has no way to say it")]
        // SAFETY: it sets two numbers of the allocator, and takes no pointers. It is called at the
        // start of a process, before there are threads that could read them meanwhile.
        unsafe {
            // 0 is a number that the library does not know; then all is as it was.
            libc::mallopt(libc::M_TRIM_THRESHOLD, TRIM);
            libc::mallopt(libc::M_MMAP_THRESHOLD, MAP);
        }
    }
}
