// Memory for large results, kept when it is freed.
//
// Fresh memory costs a page fault for every few kilobytes that are written: with malloc as it is, a
// tenth of the time of a whole model. So blocks that are given back wait here for the next result.
// In use and waiting there are never more bytes than were in use at once lately, waiting at most
// 256 MiB, and no block that has waited while 256 others were taken.
#pragma once
#include <cstddef>

namespace fracstride {

// Bytes from which a result is worth the bookkeeping.
constexpr std::size_t large_output = 256 * 1024;

// Uninitialised, aligned to a page. nullptr where there is no memory.
void* take_output(std::size_t bytes);
// From any thread, with or without the interpreter.
void give_output_back(void* memory);

struct OutputMemory {
  std::size_t in_use, waiting;  // bytes
};
OutputMemory output_memory();
void release_outputs();  // what waits goes back to the system

}  // namespace fracstride
