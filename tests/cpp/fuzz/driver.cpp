// Layer: tests (fuzz). A driver for the fuzz targets where libFuzzer is not at hand: mutates the
// target's seed corpus for a given number of iterations, the same ones for the same seed on every
// machine, so that ctest can run it and a finding can be repeated.
//
//   fuzz_upload [--iterations N] [--seed S] [--first I] [--trace] [--write-corpus FOLDER] [FILE...]
//
// With files it reads those and nothing else. --trace prints every iteration before it runs: the
// last number printed is the one to repeat alone, with --first I --iterations 1.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "fuzz/target.h"
#include "support/random.h"

namespace veilsum::fuzz {
namespace {

using test::Random;

struct Settings {
  std::uint64_t iterations = 2000;
  std::uint64_t seed = 1;
  std::uint64_t first = 0;
  bool trace = false;
  std::string write_corpus;
  std::vector<std::string> files;
};

/// Exits with an explanation when the arguments are not understood.
Settings parse(int argc, char** argv) {
  Settings settings;
  const auto refuse = [&](const std::string& why) {
    std::fprintf(stderr, "%s: %s\n", argv[0], why.c_str());
    std::exit(2);
  };
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const auto value = [&]() -> std::string {
      if (i + 1 == argc) refuse(argument + " needs a value");
      return argv[++i];
    };
    const auto number = [&]() -> std::uint64_t {
      const std::string text = value();
      char* end = nullptr;
      const std::uint64_t parsed = std::strtoull(text.c_str(), &end, 10);
      if (text.empty() || *end != '\0') refuse("'" + text + "' is not a number");
      return parsed;
    };
    if (argument == "--iterations") {
      settings.iterations = number();
    } else if (argument == "--seed") {
      settings.seed = number();
    } else if (argument == "--first") {
      settings.first = number();
    } else if (argument == "--trace") {
      settings.trace = true;
    } else if (argument == "--write-corpus") {
      settings.write_corpus = value();
    } else if (argument.starts_with("--")) {
      refuse("unknown option " + argument);
    } else {
      settings.files.push_back(argument);
    }
  }
  return settings;
}

/// A place in the object: half the time among the first fields, where the lengths are.
std::size_t place_in(const Bytes& object, Random& random) {
  if (object.empty()) return 0;
  const std::size_t range =
      random.below(2) == 0 ? std::min<std::size_t>(object.size(), 320) : object.size();
  return static_cast<std::size_t>(random.below(range));
}

/// Numbers at which parsers go wrong: ends of ranges, and lengths near the object's own.
std::uint64_t telling_number(const Bytes& object, Random& random) {
  const std::uint64_t size = object.size();
  const std::uint64_t numbers[] = {0,
                                   1,
                                   2,
                                   0x7f,
                                   0x80,
                                   0xff,
                                   0x7fff,
                                   0xffff,
                                   0x7fffffff,
                                   0x80000000,
                                   0xffffffff,
                                   0x100000000,
                                   0x7fffffffffffffff,
                                   0x8000000000000000,
                                   0xffffffffffffffff,
                                   0x7ff0000000000000,  // infinity
                                   0x7ff8000000000000,  // NaN
                                   size,
                                   size - 20,
                                   size / 32,
                                   std::uint64_t{1} << 40,
                                   std::uint64_t{1} << 20,
                                   random.next()};
  const std::uint64_t chosen = numbers[random.below(std::size(numbers))];
  return random.below(4) == 0 ? chosen + random.below(3) - 1 : chosen;
}

void overwrite(Bytes& object, std::size_t at, std::uint64_t number, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes && at + i < object.size(); ++i) {
    object[at + i] = static_cast<std::uint8_t>(number >> (8 * i));
  }
}

void mutate(Bytes& object, const std::vector<Bytes>& corpus, Random& random) {
  const std::size_t at = place_in(object, random);
  const auto left = static_cast<std::uint64_t>(object.size() - at);
  const auto place = object.begin() + static_cast<std::ptrdiff_t>(at);
  switch (random.below(10)) {
    case 0:
      if (left != 0) object[at] = static_cast<std::uint8_t>(object[at] ^ (1u << random.below(8)));
      break;
    case 1:
      if (left != 0) object[at] = static_cast<std::uint8_t>(random.next());
      break;
    case 2:
      overwrite(object, at, telling_number(object, random), 1);
      break;
    case 3:
      overwrite(object, at, telling_number(object, random), 4);
      break;
    case 4:
      overwrite(object, at, telling_number(object, random), 8);
      break;
    case 5: {  // a run goes
      const auto count =
          static_cast<std::ptrdiff_t>(random.below(std::min<std::uint64_t>(left, 64) + 1));
      object.erase(place, place + count);
      break;
    }
    case 6: {  // a run comes
      Bytes run(static_cast<std::size_t>(random.below(64)));
      for (std::uint8_t& byte : run) byte = static_cast<std::uint8_t>(random.next());
      object.insert(place, run.begin(), run.end());
      break;
    }
    case 7:  // the end goes
      if (random.below(3) == 0) object.resize(at);
      break;
    case 8: {  // a run is repeated
      const auto count =
          static_cast<std::ptrdiff_t>(random.below(std::min<std::uint64_t>(left, 200) + 1));
      const Bytes run(place, place + count);
      object.insert(place, run.begin(), run.end());
      break;
    }
    default: {  // another object takes over
      const Bytes& other = corpus[random.below(corpus.size())];
      const std::size_t from =
          random.below(4) == 0 ? place_in(other, random) : std::min(at, other.size());
      object.resize(at);
      object.insert(object.end(), other.begin() + static_cast<std::ptrdiff_t>(from), other.end());
      break;
    }
  }
}

Bytes input_of(std::uint64_t iteration, const Settings& settings,
               const std::vector<Bytes>& corpus) {
  Random random(settings.seed * 0x100000001b3 + iteration);
  Bytes object = corpus[random.below(corpus.size())];
  const std::uint64_t times = 1 + random.below(random.below(2) == 0 ? 2 : 6);
  for (std::uint64_t i = 0; i < times; ++i) mutate(object, corpus, random);
  return object;
}

void write_corpus(const std::string& folder, const std::vector<Bytes>& corpus) {
  std::filesystem::create_directories(folder);
  for (std::size_t i = 0; i < corpus.size(); ++i) {
    std::ofstream out(folder + "/seed-" + std::to_string(i), std::ios::binary);
    out.write(reinterpret_cast<const char*>(corpus[i].data()),
              static_cast<std::streamsize>(corpus[i].size()));
  }
}

void read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  std::printf("%s: %zu bytes\n", path.c_str(), text.size());
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
}

int run(const Settings& settings) {
  if (!settings.files.empty()) {
    for (const std::string& path : settings.files) read_file(path);
    return 0;
  }
  const std::vector<Bytes> corpus = seed_corpus();
  if (!settings.write_corpus.empty()) {
    write_corpus(settings.write_corpus, corpus);
    return 0;
  }
  // The seeds themselves, once as they are and once repaired: a target that refuses them tests
  // nothing.
  for (const Bytes& seed : corpus) LLVMFuzzerTestOneInput(seed.data(), seed.size());
  if (accepted != 2 * corpus.size()) {
    std::fprintf(stderr, "a seed of the corpus was refused\n");
    return 1;
  }
  for (std::uint64_t i = settings.first; i < settings.first + settings.iterations; ++i) {
    const Bytes object = input_of(i, settings, corpus);
    if (settings.trace)
      std::fprintf(stderr, "iteration %llu: %zu bytes\n", static_cast<unsigned long long>(i),
                   object.size());
    try {
      LLVMFuzzerTestOneInput(object.data(), object.size());
    } catch (const std::exception& error) {
      std::fprintf(stderr,
                   "iteration %llu of seed %llu: an exception that is no VeilsumError: %s\n",
                   static_cast<unsigned long long>(i),
                   static_cast<unsigned long long>(settings.seed), error.what());
      return 1;
    }
  }
  std::printf("%zu readings: %zu accepted, %zu refused\n", accepted + refused, accepted, refused);
  return 0;
}

}  // namespace
}  // namespace veilsum::fuzz

int main(int argc, char** argv) { return veilsum::fuzz::run(veilsum::fuzz::parse(argc, argv)); }
