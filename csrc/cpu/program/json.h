// A small strict JSON reader for the headers of files.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace sovs {

// A JSON value. Every accessor throws InvalidArgument where the value is of another kind.
class Json {
public:
    using Array = std::vector<Json>;
    using Object = std::map<std::string, Json, std::less<>>;
    using Content = std::variant<std::nullptr_t, bool, std::int64_t, double, std::string, Array, Object>;

    Json() = default;
    template <typename Kind>
    explicit Json(Kind value) : content_(std::in_place_type<Kind>, std::move(value)) {}

    // Throws InvalidArgument where the text is not one JSON value, names a member twice, or nests too deep.
    static Json parse(std::string_view text);

    bool is_null() const { return std::holds_alternative<std::nullptr_t>(content_); }
    bool boolean() const;
    std::int64_t integer() const;
    double number() const;
    const std::string& string() const;
    const Array& array() const;
    const Object& object() const;
    // A member of an object; find gives null where there is none, at throws.
    const Json* find(std::string_view name) const;
    const Json& at(std::string_view name) const;

private:
    Content content_;
};

}  // namespace sovs
