#include <algorithm>
#include <cmath>
#include <iomanip>
#include <sstream>
#include <vector>

#include "pipelines/training_output.h"

namespace hugot {
namespace {

constexpr double kWidth = 800, kHeight = 360, kLeft = 70, kRight = 20, kTop = 40, kBottom = 40;
constexpr size_t kMaxPoints = 2000;

struct Point {
  double step, loss;
};

// Means of neighbours where there are more points than a chart can show.
std::vector<Point> points_of(std::span<const double> losses) {
  const size_t stride = losses.size() / kMaxPoints + 1;
  std::vector<Point> points;
  for (size_t begin = 0; begin < losses.size(); begin += stride) {
    double sum = 0, count = 0;
    for (size_t i = begin; i < std::min(begin + stride, losses.size()); ++i) {
      if (!std::isfinite(losses[i])) continue;
      sum += losses[i];
      ++count;
    }
    if (count > 0) points.push_back({static_cast<double>(begin + 1), sum / count});
  }
  return points;
}

// A running mean over about a twentieth of the chart.
std::vector<Point> smoothed(const std::vector<Point>& points) {
  const double keep = 1 - 1 / std::max(1.0, static_cast<double>(points.size()) / 20);
  std::vector<Point> result = points;
  for (size_t i = 1; i < result.size(); ++i) {
    result[i].loss = keep * result[i - 1].loss + (1 - keep) * points[i].loss;
  }
  return result;
}

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '<') {
      out += "&lt;";
    } else if (c == '&') {
      out += "&amp;";
    } else {
      out += c;
    }
  }
  return out;
}

class Chart {
 public:
  explicit Chart(const std::vector<Point>& points) {
    low_ = high_ = points.empty() ? 0 : points[0].loss;
    for (const Point& point : points) {
      low_ = std::min(low_, point.loss);
      high_ = std::max(high_, point.loss);
      last_ = std::max(last_, point.step);
    }
    if (high_ == low_) high_ = low_ + 1;
    out_ << std::fixed << std::setprecision(1);
    out_ << "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" << kWidth << "\" height=\""
         << kHeight << "\" font-family=\"sans-serif\" font-size=\"12\">\n"
         << "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n";
  }

  void title(const std::string& text) {
    out_ << "<text x=\"" << kWidth / 2 << "\" y=\"24\" text-anchor=\"middle\" font-size=\"15\">"
         << escaped(text) << "</text>\n";
  }

  void axes() {
    for (int i = 0; i <= 4; ++i) {
      const double loss = low_ + (high_ - low_) * i / 4, step = 1 + (last_ - 1) * i / 4;
      out_ << "<path d=\"M" << kLeft << ' ' << y(loss) << "H" << kWidth - kRight
           << "\" stroke=\"#ddd\"/>\n<text x=\"" << kLeft - 8 << "\" y=\"" << y(loss) + 4
           << "\" text-anchor=\"end\">" << short_number(loss) << "</text>\n<text x=\"" << x(step)
           << "\" y=\"" << kHeight - kBottom + 20 << "\" text-anchor=\"middle\">"
           << std::llround(step) << "</text>\n";
    }
  }

  void line(const std::vector<Point>& points, const char* style) {
    out_ << "<polyline fill=\"none\" " << style << " points=\"";
    for (const Point& point : points) out_ << x(point.step) << ',' << y(point.loss) << ' ';
    out_ << "\"/>\n";
  }

  std::string finish() { return out_.str() + "</svg>\n"; }

 private:
  double x(double step) const {
    return kLeft + (kWidth - kLeft - kRight) * (last_ > 1 ? (step - 1) / (last_ - 1) : 0.5);
  }
  double y(double loss) const {
    return kHeight - kBottom - (kHeight - kTop - kBottom) * (loss - low_) / (high_ - low_);
  }
  static std::string short_number(double x) {
    std::ostringstream text;
    text << std::setprecision(4) << x;
    return text.str();
  }

  std::ostringstream out_;
  double low_ = 0, high_ = 1, last_ = 1;
};

}  // namespace

std::string plot_loss(std::span<const double> losses, const std::string& title) {
  const std::vector<Point> points = points_of(losses);
  Chart chart(points);
  chart.title(title);
  chart.axes();
  chart.line(points, "stroke=\"#9bbcdc\"");
  chart.line(smoothed(points), "stroke=\"#1f4e79\" stroke-width=\"2\"");
  return chart.finish();
}

}  // namespace hugot
