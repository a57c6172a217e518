// What this x86-64 can do: each feature of instruction_sets.txt by its name there. (Asked of the
// CPU here and not by __builtin_cpu_supports: each compiler knows other names, and on Windows a
// part of Clang's runtime that the linker does not bring would have to answer.)
#pragma once
#if defined(__x86_64__)
#include <cpuid.h>

#include <cstring>

namespace fracstride {

struct Registers {
  unsigned a = 0, b = 0, c = 0, d = 0;
};

// All zeros where the CPU does not know the leaf.
inline Registers cpuid(unsigned leaf, unsigned subleaf = 0) {
  Registers r;
  __get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d);
  return r;
}

inline bool has_bit(unsigned word, int bit) { return word >> bit & 1; }

// Whether the system saves these registers when it changes threads: bits of XCR0.
inline bool saves(unsigned registers) {
  if (!has_bit(cpuid(1).c, 27)) return false;  // no XGETBV
  unsigned low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low & registers) == registers;
}

inline bool saves_avx() { return saves(0x6); }

inline bool saves_avx512() {
#if defined(__APPLE__)
  return saves_avx();  // macOS saves the others from their first use on, and only then says so
#else
  return saves(0xe6);
#endif
}

inline bool has_f16c() { return saves_avx() && has_bit(cpuid(1).c, 29); }
inline bool has_fma() { return saves_avx() && has_bit(cpuid(1).c, 12); }
inline bool has_avx2() { return saves_avx() && has_bit(cpuid(7).b, 5); }
inline bool has_avx512f() { return saves_avx512() && has_bit(cpuid(7).b, 16); }
inline bool has_avx512dq() { return saves_avx512() && has_bit(cpuid(7).b, 17); }
inline bool has_avx512bw() { return saves_avx512() && has_bit(cpuid(7).b, 30); }
inline bool has_avx512vl() { return saves_avx512() && has_bit(cpuid(7).b, 31); }
inline bool has_avx512bf16() {
  return saves_avx512() && cpuid(7).a >= 1 && has_bit(cpuid(7, 1).a, 5);  // of subleaf 1
}

inline bool is_intel() {
  const Registers r = cpuid(0);
  const unsigned name[] = {r.b, r.d, r.c};
  return std::memcmp(name, "GenuineIntel", sizeof name) == 0;
}

}  // namespace fracstride
#endif
