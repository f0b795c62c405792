//! Charts as SVG.

use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use super::report::number;

/// Bars that belong together, from the same race.
pub struct Group {
    pub title: String,
    /// Name and height.
    pub bars: Vec<(String, f64)>,
}

/// A line through its points, none of which has a zero: both axes grow by factors.
pub struct Line {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

type Canvas<'c> = DrawingArea<SVGBackend<'c>, Shift>;

const WIDTH: u32 = 860;
const COLORS: [RGBColor; 6] = [
    RGBColor(0x1f, 0x5a, 0xa6),
    RGBColor(0x6b, 0xa3, 0xd6),
    RGBColor(0xb8, 0xb8, 0xb8),
    RGBColor(0xd9, 0x8b, 0x3a),
    RGBColor(0x5d, 0x9e, 0x5f),
    RGBColor(0x9b, 0x5f, 0x9e),
];
const INK: RGBColor = RGBColor(0x30, 0x30, 0x30);

/// Bars that lie: their names need room. Each group has its own scale, that of its longest bar.
pub fn bars(title: &str, groups: &[Group]) -> String {
    const BAR: i32 = 22;
    const HEAD: i32 = 30;
    const LEFT: i32 = 230;
    const ROOM: f64 = 500.0;
    let rows: usize = groups.iter().map(|group| group.bars.len()).sum();
    let height = 50 + i32::try_from(groups.len()).unwrap() * HEAD + i32::try_from(rows).unwrap() * BAR;
    draw((WIDTH, u32::try_from(height + 10).unwrap()), |canvas| {
        write(canvas, title, (12, 12), 18, HPos::Left);
        let mut y = 50;
        for group in groups {
            write(canvas, &group.title, (12, y), 14, HPos::Left);
            y += HEAD - 6;
            let longest = group.bars.iter().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
            for (place, (name, value)) in group.bars.iter().enumerate() {
                let end = LEFT + (value / longest * ROOM).round() as i32;
                let bar = Rectangle::new([(LEFT, y), (end, y + BAR - 5)], color(place).filled());
                canvas.draw(&bar).unwrap();
                write(canvas, name, (LEFT - 8, y + 2), 12, HPos::Right);
                let digits = if *value < 100.0 { 2 } else { 0 };
                write(canvas, &number(*value, digits), (end + 6, y + 2), 12, HPos::Left);
                y += BAR;
            }
            y += 6;
        }
    })
}

pub fn lines(title: &str, [x, y]: [&str; 2], lines: &[Line]) -> String {
    let all = || lines.iter().flat_map(|line| &line.points);
    let range = |part: fn(&(f64, f64)) -> f64| {
        let least = all().map(part).fold(f64::INFINITY, f64::min);
        let most = all().map(part).fold(f64::MIN_POSITIVE, f64::max);
        (least / 1.5)..(most * 1.5)
    };
    draw((WIDTH, 460), |canvas| {
        let mut builder = ChartBuilder::on(canvas);
        builder.caption(title, ("sans-serif", 18, &INK)).margin(12).x_label_area_size(44).y_label_area_size(84);
        let mut chart =
            builder.build_cartesian_2d(range(|point| point.0).log_scale(), range(|point| point.1).log_scale()).unwrap();
        let mut mesh = chart.configure_mesh();
        let shown = |value: &f64| number(*value, 0);
        mesh.x_desc(x).y_desc(y).x_label_formatter(&shown).y_label_formatter(&shown).light_line_style(WHITE);
        mesh.axis_desc_style(("sans-serif", 14, &INK)).label_style(("sans-serif", 12, &INK)).draw().unwrap();
        for (place, line) in lines.iter().enumerate() {
            let color = color(place);
            let points = line.points.iter().copied();
            chart
                .draw_series(LineSeries::new(points.clone(), color.stroke_width(2)))
                .unwrap()
                .label(&line.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
            chart.draw_series(points.map(|point| Circle::new(point, 4, color.filled()))).unwrap();
        }
        let mut labels = chart.configure_series_labels();
        labels.position(SeriesLabelPosition::LowerLeft).background_style(WHITE.mix(0.8)).label_font((
            "sans-serif",
            13,
            &INK,
        ));
        labels.draw().unwrap();
    })
}

fn color(place: usize) -> RGBColor {
    COLORS[place % COLORS.len()]
}

fn draw(size: (u32, u32), content: impl FnOnce(&Canvas<'_>)) -> String {
    let mut svg = String::new();
    {
        let canvas = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        canvas.fill(&WHITE).unwrap();
        content(&canvas);
        canvas.present().unwrap();
    }
    svg
}

fn write(canvas: &Canvas<'_>, text: &str, at: (i32, i32), size: u32, side: HPos) {
    let style = TextStyle::from(("sans-serif", size).into_font()).color(&INK).pos(Pos::new(side, VPos::Top));
    canvas.draw_text(text, &style, at).unwrap();
}
