#include "program/json.h"

#include <charconv>
#include <clocale>
#include <cmath>
#include <cstdlib>
#include <string>

#include "base/error.h"

namespace sovs {
namespace {

constexpr int kDeepest = 32;

[[noreturn]] void refuse(const std::string& message) { throw InvalidArgument(message); }

class Parser {
public:
    explicit Parser(std::string_view text) : text_(text) {}

    Json whole() {
        Json value = any(0);
        space();
        if (at_ != text_.size()) fail("the end of the text");
        return value;
    }

private:
    [[noreturn]] void fail(const char* expected) const {
        refuse("expected JSON with " + std::string(expected) + " at byte " + std::to_string(at_));
    }

    void space() {
        while (at_ < text_.size() && std::string_view(" \t\n\r").find(text_[at_]) != std::string_view::npos) ++at_;
    }

    bool take(char wanted) {
        if (at_ == text_.size() || text_[at_] != wanted) return false;
        ++at_;
        return true;
    }

    bool take(std::string_view word) {
        if (!text_.substr(at_).starts_with(word)) return false;
        at_ += word.size();
        return true;
    }

    Json any(int depth) {
        if (depth > kDeepest) fail("less nesting");
        space();
        if (take('{')) return Json(object(depth));
        if (take('[')) return Json(array(depth));
        if (take('"')) return Json(string());
        if (take("true")) return Json(true);
        if (take("false")) return Json(false);
        if (take("null")) return Json(nullptr);
        return number();
    }

    Json::Object object(int depth) {
        Json::Object members;
        space();
        if (take('}')) return members;
        do {
            space();
            if (!take('"')) fail("a name");
            std::string name = string();
            space();
            if (!take(':')) fail("a colon");
            if (!members.emplace(std::move(name), any(depth + 1)).second) fail("every name once");
            space();
        } while (take(','));
        if (!take('}')) fail("a comma or a closing brace");
        return members;
    }

    Json::Array array(int depth) {
        Json::Array items;
        space();
        if (take(']')) return items;
        do {
            items.push_back(any(depth + 1));
            space();
        } while (take(','));
        if (!take(']')) fail("a comma or a closing bracket");
        return items;
    }

    std::string string() {
        std::string made;
        while (true) {
            if (at_ == text_.size() || static_cast<unsigned char>(text_[at_]) < 0x20) fail("a closing quote");
            const char c = text_[at_++];
            if (c == '"') return made;
            if (c == '\\')
                escape(made);
            else
                made += c;
        }
    }

    void escape(std::string& made) {
        constexpr std::string_view kLetters = "\"\\/bfnrt", kMeanings = "\"\\/\b\f\n\r\t";
        if (take('u')) {
            std::uint32_t point = hex4();
            if (point >= 0xDC00 && point < 0xE000) fail("the first half of a pair");
            if (point >= 0xD800 && point < 0xDC00) {
                const std::uint32_t low = take("\\u") ? hex4() : 0;
                if (low < 0xDC00 || low >= 0xE000) fail("the second half of a pair");
                point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00);
            }
            append_utf8(made, point);
            return;
        }
        const std::size_t which = at_ < text_.size() ? kLetters.find(text_[at_]) : std::string_view::npos;
        if (which == std::string_view::npos) fail("a known escape");
        ++at_;
        made += kMeanings[which];
    }

    std::uint32_t hex4() {
        const std::string_view digits = text_.substr(at_, 4);
        std::uint32_t value = 0;
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
        if (digits.size() != 4 || error != std::errc() || end != digits.data() + 4) fail("four hexadecimal digits");
        at_ += 4;
        return value;
    }

    static void append_utf8(std::string& made, std::uint32_t point) {
        const int more = point < 0x80 ? 0 : point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
        constexpr std::uint32_t kLead[] = {0x00, 0xC0, 0xE0, 0xF0};
        made += static_cast<char>(kLead[more] | point >> (6 * more));
        for (int i = more - 1; i >= 0; --i) made += static_cast<char>(0x80 | (point >> (6 * i) & 0x3F));
    }

    std::size_t digits() {
        const std::size_t start = at_;
        while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') ++at_;
        return at_ - start;
    }

    Json number() {
        const std::size_t start = at_;
        take('-');
        const bool zero = at_ < text_.size() && text_[at_] == '0';
        const std::size_t count = digits();
        if (count == 0 || (zero && count > 1)) fail("a value");
        bool whole = true;
        if (take('.')) {
            whole = false;
            if (digits() == 0) fail("a digit");
        }
        if (take('e') || take('E')) {
            whole = false;
            if (!take('+')) take('-');
            if (digits() == 0) fail("a digit");
        }
        const std::string_view text = text_.substr(start, at_ - start);
        if (whole) {
            std::int64_t value = 0;
            if (std::from_chars(text.data(), text.data() + text.size(), value).ec != std::errc())
                fail("integers of 64 bits");
            return Json(value);
        }
        // from_chars for double is missing in some C++ libraries, and strtod follows the process's locale.
        static const locale_t kPlain = newlocale(LC_ALL_MASK, "C", nullptr);
        const double value = strtod_l(std::string(text).c_str(), nullptr, kPlain);
        if (!std::isfinite(value)) fail("numbers that a double holds");
        return Json(value);
    }

    std::string_view text_;
    std::size_t at_ = 0;
};

template <typename Kind>
const Kind& get(const Json::Content& content, const char* kind) {
    const Kind* value = std::get_if<Kind>(&content);
    if (value == nullptr) refuse("expected " + std::string(kind) + " in a header, got another kind of value");
    return *value;
}

}  // namespace

Json Json::parse(std::string_view text) { return Parser(text).whole(); }

bool Json::boolean() const { return get<bool>(content_, "true or false"); }
std::int64_t Json::integer() const { return get<std::int64_t>(content_, "an integer"); }
double Json::number() const {
    if (const auto* whole = std::get_if<std::int64_t>(&content_)) return static_cast<double>(*whole);
    return get<double>(content_, "a number");
}
const std::string& Json::string() const { return get<std::string>(content_, "a string"); }
const Json::Array& Json::array() const { return get<Array>(content_, "a list"); }
const Json::Object& Json::object() const { return get<Object>(content_, "an object"); }

const Json* Json::find(std::string_view name) const {
    const Object& members = object();
    const auto found = members.find(name);
    return found == members.end() ? nullptr : &found->second;
}

const Json& Json::at(std::string_view name) const {
    const Json* found = find(name);
    if (found == nullptr) refuse("expected \"" + std::string(name) + "\" in a header, got none");
    return *found;
}

}  // namespace sovs
