// What this CPU can do: each feature of instruction_sets.txt by its name there. (On x86-64 the CPU
// is asked here and not by __builtin_cpu_supports: each compiler knows other names, and on Windows
// a part of Clang's runtime that the linker does not bring would have to answer.)
#pragma once
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(__aarch64__) && defined(_WIN32)
#include <windows.h>
#endif

namespace fracstride {

#if defined(__x86_64__)

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

#elif defined(__aarch64__)

#if defined(__APPLE__)
inline bool has_feature(const char* name) {
  int value = 0;
  std::size_t size = sizeof value;
  return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value != 0;
}
#endif

// Numbers of the systems' interfaces, whose names older headers do not have.
inline bool has_bf16() {
#if defined(__linux__)
  return getauxval(AT_HWCAP2) & 1ul << 14;  // HWCAP2_BF16
#elif defined(__APPLE__)
  return has_feature("hw.optional.arm.FEAT_BF16");
#elif defined(_WIN32)
  return IsProcessorFeaturePresent(68);  // PF_ARM_V86_BF16_INSTRUCTIONS_AVAILABLE
#else
  return false;
#endif
}

#endif

}  // namespace fracstride
